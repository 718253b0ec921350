"""The contract: GraphQL types, roots and limits, and the HTTP endpoint that serves them."""
