//go:build damage

package store

func init() { damageStride = 1 }
