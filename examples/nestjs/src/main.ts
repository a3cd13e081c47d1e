import 'reflect-metadata'
import { Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { DatabaseModule } from './database.js'
import { NotesModule } from './notes.js'

@Module({ imports: [DatabaseModule, NotesModule] })
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] })
app.enableShutdownHooks()
await app.listen(process.env.PORT ?? 3000)
