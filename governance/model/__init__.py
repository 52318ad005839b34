"""The vocabulary: values that every other room speaks in. No IO, no clock, no policy."""
