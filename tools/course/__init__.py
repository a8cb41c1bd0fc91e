"""The machinery of the course: reading, checking, running and printing the notebooks."""
