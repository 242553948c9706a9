"""What the hub takes in from clients that are not ours: OpenTelemetry and AgentOps."""
