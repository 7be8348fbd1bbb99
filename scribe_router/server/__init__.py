"""The proxy: HTTP in, the router's answers out. Knows HTTP, SSE and error shapes; no strategy, no money, no litellm."""
