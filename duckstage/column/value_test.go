package column

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestDecimalEqualsBigArithmetic(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		v := Int128{Hi: int64(rnd.Uint64()) >> rnd.IntN(64), Lo: rnd.Uint64()}
		scale := rnd.IntN(20)
		n := new(big.Int).Lsh(big.NewInt(v.Hi), 64)
		n.Add(n, new(big.Int).SetUint64(v.Lo))
		want := new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
		got, ok := new(big.Rat).SetString(string(AppendDecimal(nil, v, scale)))
		if !ok || got.Cmp(want) != 0 {
			t.Fatalf("%v scale %d: got %s, want %s", v, scale, AppendDecimal(nil, v, scale), want)
		}
	}
}
