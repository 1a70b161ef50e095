"""The watch over live traffic: scores, tests, metrics, a log, spans, and alarms that are posted."""
