"""What drives a run's stages: the executor, Prefect's server, work pools and task runners."""
