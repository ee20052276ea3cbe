package status

// Stream is for the tests that drive a browser.
var Stream = stream
