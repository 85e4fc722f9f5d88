"""What the notebooks show and ask: steppers with their questions, tasks that the simulator checks, figures."""
