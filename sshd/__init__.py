"""The SSH server: keys in, git commands out, nothing else."""
