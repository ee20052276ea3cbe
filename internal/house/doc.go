// Package house checks what concerns the tree as a whole and no single room:
// every link in a document leads somewhere, the front door stays short, and the
// lesson says the same in both languages. It contains only tests; "make check"
// runs them first.
package house
