# Reads what "go test -v" says. Shows what it says of the tests that failed, how
# many there were, and why some were skipped. Fails if a test failed, or a room
# for any other reason.
#
# Wine 8 does not remove the files of a T.TempDir, and so testing.T fails a test
# at its end. A test that says nothing else has passed.

/^=== RUN +[^\/]+$/ || /^(ok|PASS|FAIL)/ { block = ""; lines = 0; unremoved = 0; shown = 0 }
/^=== / { next }
/^ *--- PASS/ { passed++ }
/^ *--- SKIP/ { skipped++; tests[reason] = tests[reason] " " $3 }
/^--- FAIL/ {
    if (lines == 1 && unremoved) {
        passed++
        excused = 1
        next
    }
    printf "%s", block
    shown = 1
}
/^ *--- FAIL/ { failed++ }
/^panic: / { panicked = 1 }
/^# / { shown = 1 }
shown || /build failed/ { print }
/^FAIL\t/ {
    if (!excused || panicked || failed > before)
        broken = broken " " $2
}
/^(ok|FAIL)\t/ { excused = 0; panicked = 0; before = failed }
{
    block = block $0 "\n"
    lines++
    if (/TempDir RemoveAll cleanup: .*Invalid function\.$/) unremoved = 1
    reason = $0
    sub(/^ +/, "", reason)
    sub(/^[^ ]*_test.go:[0-9]+: /, "", reason)
}

END {
    printf "unit tests: %d passed, %d failed, %d skipped\n", passed, failed, skipped
    for (reason in tests) printf "skipped, %s:%s\n", reason, tests[reason] | "sort"
    close("sort")
    if (broken) print "failed:" broken
    exit broken != ""
}
