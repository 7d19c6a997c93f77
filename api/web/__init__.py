"""The page: server-rendered, live by one event stream, with no build step and nothing from elsewhere."""
