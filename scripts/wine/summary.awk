# Reads what "go test -v" says, and CODE, its exit code: awk -v code=CODE -f …
# Shows what it says of the tests that failed, how many there were, and why some
# were skipped. It ends with 1 if a test failed, or a room for any other reason,
# and with 3 if rooms only hung: then the last line says which.
#
# Wine 8 does not remove the files of a T.TempDir, and so testing.T fails a test
# at its end. A test that says nothing else has passed.

/^FAIL\t/ {
    rooms++
    if (hung && failed == before) {
        hangs = hangs (hangs ? "," : "") running " in " $2
    } else if (!unclean || panicked || failed > before) {
        if (failed == before) printf "%s", block
        broken = broken " " $2
    }
}
/^=== RUN +[^\/]+$/ || /^(ok|PASS|FAIL)/ { block = ""; lines = 0; unremoved = 0; shown = 0; excused = 0 }
/^=== / { next }
/^ *--- PASS/ { passed++ }
/^ *--- SKIP/ { skipped++; tests[reason] = tests[reason] " " $3 }
/^--- FAIL/ {
    excused = unremoved && lines == unremoved
    if (!excused) printf "%s", block
    shown = !excused
}
/^ *--- FAIL/ {
    if (excused) {
        passed++
        unclean = 1
        next
    }
    failed++
}
/^panic: / { panicked = 1 }
/^panic: test timed out/ { hung = 1 }
hung && /^\t\tTest/ { running = running " " $1 }
shown { print }
/^(ok|FAIL)\t/ { unclean = 0; panicked = 0; hung = 0; running = ""; before = failed }
{
    block = block $0 "\n"
    lines++
    if (/TempDir RemoveAll cleanup: .*Invalid function\.$/) unremoved++
    reason = $0
    sub(/^ +/, "", reason)
    sub(/^[^ ]*_test.go:[0-9]+: /, "", reason)
}

END {
    if (code && !rooms) {
        printf "%s", block
        broken = " go test itself"
    }
    printf "unit tests: %d passed, %d failed, %d skipped\n", passed, failed, skipped
    for (reason in tests) printf "skipped, %s:%s\n", reason, tests[reason] | "sort"
    close("sort")
    if (broken) {
        print "failed:" broken
        exit 1
    }
    if (hangs) {
        print "not tested: the unit tests hung under wine:" hangs
        exit 3
    }
}
