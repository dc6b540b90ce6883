"""What `cloudphone doctor` looks at: whether this machine can do what its settings ask of it."""
