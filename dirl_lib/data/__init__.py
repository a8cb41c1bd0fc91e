"""Where samples come from: the embedded sample data now, iHarmony4 and folders of your own beside it."""
