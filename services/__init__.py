"""Business rules, permissions, events and jobs: what every door has in common."""
