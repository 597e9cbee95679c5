"""What `apxm workloads` does; the programs themselves lie in workloads/ at the root of the repository."""
