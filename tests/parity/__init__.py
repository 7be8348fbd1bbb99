"""One request through every door and both lanes: the proxy, the awaited method, the one for synchronous code."""
