"""Parts of a bill of materials, from the facts of decisions (see `governance.report.to_cyclonedx`)."""
