"""Waivers as people make them: signed steps in files, checked before they count."""
