"""Tables, charts, Markdown, HTML and terminal text, drawn from one `Analysis`."""
