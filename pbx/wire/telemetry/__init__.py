"""What both programs need to be watched: counts, a page of metrics, logs, traces. Knows neither POP nor centre."""
