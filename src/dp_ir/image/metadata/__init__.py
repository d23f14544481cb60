"""What files say beside pixels: EXIF, XMP, ICC profiles, Photoshop resources, resolution, texts."""
