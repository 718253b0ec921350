"""How fields are fetched: plain async functions that return rows, batched per request."""
