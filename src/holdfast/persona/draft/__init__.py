"""From a system prompt to personas that can be measured: demands, probes, judges and examples."""
