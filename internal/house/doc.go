// Package house checks what concerns the tree as a whole and no single room:
// every link in a document leads somewhere, and the front door stays short.
// It contains only tests; "make check" runs them first.
package house
