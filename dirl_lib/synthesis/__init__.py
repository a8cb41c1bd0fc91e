"""Making inharmonious pictures: recolour a region with the colours of another, four ways."""
