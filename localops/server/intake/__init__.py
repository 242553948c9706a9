"""Receives data from clients of OpenTelemetry and AgentOps."""
