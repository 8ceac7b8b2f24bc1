package column

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNullsSurviveReuse(t *testing.T) {
	var v Vector
	v.SetNull(70, 130)
	v.SetNull(0, 130)
	for i := range 130 {
		if got, want := v.Null(i), i == 0 || i == 70; got != want {
			t.Errorf("Null(%d) = %v, want %v", i, got, want)
		}
	}
	v.Reset()
	if v.HasNulls() || v.Null(70) {
		t.Error("a reset vector still has nulls")
	}
	v.SetNull(1, 3)
	if v.Null(0) || !v.Null(1) || v.Null(2) {
		t.Error("a null set after a reset is in the wrong place")
	}
}

func TestSetValidInvertsTheMask(t *testing.T) {
	var v Vector
	v.SetValid([]uint64{^uint64(0) &^ (1 << 5), 0xFF}, 72)
	for i := range 72 {
		if got, want := v.Null(i), i == 5; got != want {
			t.Errorf("Null(%d) = %v, want %v", i, got, want)
		}
	}
	v.SetValid([]uint64{0x7}, 3)
	if v.HasNulls() {
		t.Error("bits beyond the last row count as nulls")
	}
	v.SetValid(nil, 3)
	if v.HasNulls() {
		t.Error("no mask must mean no nulls")
	}
}

func TestCopySharesNothing(t *testing.T) {
	src := Batch{Rows: 2, Columns: []Vector{{Name: "n", Type: Int, Ints: []int64{1, 2}}, {Name: "t", Type: Text}}}
	src.Columns[1].AppendText("größe")
	src.Columns[1].AppendText("")
	src.Columns[0].SetNull(1, 2)
	var dst Batch
	dst.CopyFrom(&src)
	if diff := cmp.Diff(src, dst, cmp.AllowUnexported(Vector{})); diff != "" {
		t.Errorf("copy differs: %s", diff)
	}
	src.Columns[0].Ints[0] = 9
	src.Columns[1].Bytes[0] = 'X'
	if dst.Columns[0].Ints[0] != 1 || string(dst.Column("t").TextAt(0)) != "größe" {
		t.Error("the copy changed with its source")
	}
	if dst.Column("none") != nil {
		t.Error("Column found a column that is not there")
	}
}

func TestInt128TextAgreesWithBigInt(t *testing.T) {
	check := func(x Int128) {
		t.Helper()
		want := new(big.Int).Lsh(big.NewInt(x.Hi), 64)
		want.Add(want, new(big.Int).SetUint64(x.Lo))
		if got := string(AppendDecimal(nil, x, 0)); got != want.String() {
			t.Errorf("%+v = %s, want %s", x, got, want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		x := Int128{Hi: int64(rng.Uint64()), Lo: rng.Uint64()}
		check(x)
		check(Int128{Hi: x.Hi >> (rng.UintN(63)), Lo: x.Lo})
		check(FromInt64(x.Hi))
	}
	check(Int128{})
	check(Int128{Hi: -1 << 63})
	check(Int128{Hi: 1<<63 - 1, Lo: ^uint64(0)})
	check(Int128{Hi: 0, Lo: 1e19})
	for _, c := range []struct {
		value int64
		scale int
		want  string
	}{{-1250, 2, "-12.50"}, {5, 3, "0.005"}, {0, 2, "0.00"}, {100, 2, "1.00"}, {-7, 1, "-0.7"}, {7, 0, "7"}} {
		if got := string(AppendDecimal(nil, FromInt64(c.value), c.scale)); got != c.want {
			t.Errorf("%d scaled by %d = %s, want %s", c.value, c.scale, got, c.want)
		}
	}
}
