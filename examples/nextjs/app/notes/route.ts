import { dburi, manager, note } from '@/lib/db'

export const dynamic = 'force-dynamic'

export async function GET(): Promise<Response> {
  return Response.json(await manager.session(dburi, { readOnly: true }, (db) => db.select().from(note)))
}

export async function POST(request: Request): Promise<Response> {
  const { body } = (await request.json()) as { body: string }
  await manager.session(dburi, (db) => db.insert(note).values({ body }))
  return new Response(null, { status: 201 })
}
