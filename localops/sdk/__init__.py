"""`localops.sdk.decorators`, for programs that say `import localops as agentops`."""
