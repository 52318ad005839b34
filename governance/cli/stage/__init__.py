"""What `mlgov demo` is made of: processes that cannot outlive it, two servers, and the scenes of the story."""
