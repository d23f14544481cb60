"""Images in memory: a picture with transparency and colour profile, its parts, its size, and what can be measured."""
