// The other side of seals.py: node seals.mjs seal RECIPIENT | open IDENTITY | recipient IDENTITY, over standard streams.
import { Decrypter, Encrypter, identityToRecipient } from 'age-encryption'
import { readFileSync, writeSync } from 'node:fs'

const [word, key] = process.argv.slice(2)

function put(bytes) {
  for (let at = 0; at < bytes.length;) at += writeSync(1, bytes, at)
}

if (word === 'recipient') {
  put(Buffer.from(await identityToRecipient(key)))
} else if (word === 'seal') {
  const encrypter = new Encrypter()
  encrypter.addRecipient(key)
  put(await encrypter.encrypt(readFileSync(0)))
} else if (word === 'open') {
  const decrypter = new Decrypter()
  decrypter.addIdentity(key)
  put(await decrypter.decrypt(readFileSync(0), 'uint8array'))
} else {
  process.exit(64)
}
