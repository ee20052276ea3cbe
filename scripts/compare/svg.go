package main

import "io"

func draw(w io.Writer, p plan, scenarios []scenario) {}
