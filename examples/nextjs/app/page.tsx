import { revalidatePath } from 'next/cache'
import { dburi, manager, note } from '@/lib/db'

export const dynamic = 'force-dynamic'

/** A server component that reads, and a form whose server action writes. */
export default async function Page() {
  const notes = await manager.session(dburi, { readOnly: true }, (db) => db.select().from(note))
  return (
    <main>
      <ul>
        {notes.map(({ id, body }) => (
          <li key={id}>{body}</li>
        ))}
      </ul>
      <form action={add}>
        <input name="body" />
        <button type="submit">Add</button>
      </form>
    </main>
  )
}

async function add(form: FormData) {
  'use server'
  await manager.session(dburi, (db) => db.insert(note).values({ body: String(form.get('body')) }))
  revalidatePath('/')
}
