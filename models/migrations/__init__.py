"""The schema's history. ``runner`` applies it; ``versions`` holds one file a step, oldest first."""
