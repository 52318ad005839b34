"""The sections of reports, each a function from what was read to a `Section`; `governance.report.editions` says which has which."""
