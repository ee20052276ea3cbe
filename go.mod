module balancelab

go 1.26
