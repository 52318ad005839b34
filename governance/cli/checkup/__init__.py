"""What `mlgov doctor` looks at: this installation, the files of this machine, the services it speaks to."""
