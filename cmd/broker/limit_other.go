//go:build !unix

package main

func defaultMaxConns() int { return anyConns }
