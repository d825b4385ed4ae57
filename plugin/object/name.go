package object

import (
	"crypto/md5"
	"encoding/hex"
	"path"
)

// The MD5 of an object is made when the object is, and stands in the name of its file, before the last part of its key:
//
//	key     ingest/amberdata/11-28-2026/0199f1b2-….gz
//	file    ingest/amberdata/11-28-2026/9e107d9d372bb6826bd81d3542a419d6=0199f1b2-….gz
//
// A name comes and goes with the file: the rename that makes an object count makes its digest count, and no second file can be
// missing, old or another's. It goes along where extended attributes do not (NFS, rsync -a), survives a file that is
// written anew, and md5sum checks it. In the object itself it cannot be. An object without one, of an earlier version, is
// delivered once all of it could be read.

// DigestSize is what the digest takes in a name.
const DigestSize = 2*md5.Size + len("=")

// FileOf is the path, below a directory, of an object; sum is its MD5, nil if that is not known.
func FileOf(key string, sum []byte) string {
	if sum == nil {
		return key
	}
	dir, name := path.Split(key)
	return dir + hex.EncodeToString(sum) + "=" + name
}

// ParseFile reads what FileOf made; sum is nil if there is no digest.
func ParseFile(file string) (key string, sum []byte) {
	dir, name := path.Split(file)
	if len(name) <= DigestSize || name[DigestSize-1] != '=' {
		return file, nil
	}
	sum, err := hex.DecodeString(name[:DigestSize-1])
	if err != nil {
		return file, nil
	}
	return dir + name[DigestSize:], sum
}
