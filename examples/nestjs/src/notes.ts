import { Body, Controller, Get, Module, Post } from '@nestjs/common'
import { Database, note } from './database.js'

@Controller('notes')
class NotesController {
  constructor(private readonly database: Database) {}

  @Get()
  list() {
    return this.database.read((db) => db.select().from(note))
  }

  @Post()
  async add(@Body('body') body: string) {
    await this.database.write((db) => db.insert(note).values({ body }))
  }
}

@Module({ controllers: [NotesController] })
export class NotesModule {}
