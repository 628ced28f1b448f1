"""Where a stage is computed: slots, processes, teams of processes, their environment and ports."""
