"""What the PDF of a compliance report is set with: letters, charts, tables and pages. `governance.report.to_pdf` puts it together."""
