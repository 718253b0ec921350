"""Git's protocols, spoken once for all transports: fetch, push and archive over byte streams."""
