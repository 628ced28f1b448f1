"""What MLflow is told: metrics, models, data sets and traces, through an outbox that outlives it."""
