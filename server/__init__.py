"""The process: RESP, connections, the engine, clients, configuration, startup and recovery."""
