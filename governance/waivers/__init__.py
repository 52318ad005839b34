"""Waivers as people make them: signed steps in files, checked before they count. Layer 5, beside `collect`."""
